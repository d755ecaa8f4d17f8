"""A developer's tool: shows the CORS policy, and explains what a browser does with a request.

dev.py adds it to `flask`. Nothing in app/ or wsgi.py imports it, so a deployment works without
this folder. Updates of the template improve it: do not edit it.
"""

from .commands import commands

__all__ = ["commands"]
