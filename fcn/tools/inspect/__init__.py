"""`fcn inspect`: a network's layers as rows, as a table, and the field of a cell as a picture."""
