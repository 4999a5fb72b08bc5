"""The scikit-learn face: a model as an estimator that transforms, samples and scores.

from unveil.estimator import VariationalAutoencoder

VariationalAutoencoder(latent=8, random_state=0).fit(X).transform(X)
"""

from unveil.estimator.autoencoder import VariationalAutoencoder

__all__ = ["VariationalAutoencoder"]
