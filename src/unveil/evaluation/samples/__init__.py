"""How much samples are like the data, in the features of a classifier, and whether they are copies of them."""
