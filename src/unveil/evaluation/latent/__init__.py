"""What the latent space holds: which units are used, how far q(z) is from p(z), and what z tell of labels and factors."""
