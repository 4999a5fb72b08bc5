"""What a mean over draws is held to."""


def near(values, exact, sigmas=4.0):
    """Whether the mean of independent rows (N, ...) is what it should be, but for `sigmas` standard errors."""
    gap, error = values.mean(0) - exact, values.std(0) / len(values) ** 0.5
    return bool((gap.abs() < sigmas * error + 1e-12).all())
