"""The command line: what its words mean, its help, clusters. Hydra and omegaconf are known here only."""
