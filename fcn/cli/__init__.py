"""The command line: the meaning of its words, its help, and clusters. Only this folder imports Hydra and omegaconf."""
