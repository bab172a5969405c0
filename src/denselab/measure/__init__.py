"""A model on data: which pictures, its predictions, their counts, and the files that report them."""
