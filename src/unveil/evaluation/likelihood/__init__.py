"""How probable the data are under a model, in nats: bounds, estimates, the integral itself, and two models compared."""
