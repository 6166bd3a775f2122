"""The HTTP status of every kind of error, on the data plane and on the control plane alike."""

HTTP_STATUS: dict[str, int] = {
    "bad-input": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "too-large": 413,
    "refused": 422,
    "throttled": 429,
    "internal": 500,
    "corrupt": 500,
    "unavailable": 503,
    "deadline": 504,
}
