"""`fcn compare`: one network with each up-sampler, equal in all else: the trainings, what they are scored by, and the report."""
