"""The control plane's REST API: words of the stages as URLs, one error shape, every route behind a permission."""
