"""The table of modules: which of them an extension needs. Pure; the host reads it, too."""

# Extension -> its modules. What no line names is the core.
EXTENSIONS = {
    "console": "console commands local shadows",
    "http": "http fetching",
    "json": "stream_json",
    "raw": "raw x509 rsa",
    "wide": "wide",
}
