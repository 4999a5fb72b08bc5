"""A trained model over HTTP: sample, encode, decode, reconstruct and score, in JSON and PNG.

A request goes one way: `protocol` (time and sockets), `guard` (who may ask), `bodies` (bytes to JSON, or an image),
`fields` (JSON to values), `asked` (values to rows), `batching` (a queue and the one thread that computes), `together`
(rows of several requests in one pass, each with its own randomness), `answers` (tensors to JSON or PNG). What a field
admits stands once, in `fields`: `openapi` describes it from there.

Nothing that is asked changes anything: the same question with the same seed has the same answer, whatever else is asked.
"""

from unveil.errors import SettingError


def require() -> None:
    """See that what serves is installed.

    Raises:
        SettingError: it is not.
    """
    try:
        import starlette
        import uvicorn
    except ImportError:
        raise SettingError(
            "serving needs starlette and uvicorn, which are not installed; pip install 'unveil[serve]'"
        ) from None
    del starlette, uvicorn
