"""The CORS policy of this app: checked at start, enforced by flask-cors, kept by the template.

Change what it allows by `copier update` or by the environment (README.md), not in here.
"""

from app.cors.commands import commands
from app.cors.middleware import init_app
from app.cors.policy import Policy, PolicyError

__all__ = ["Policy", "PolicyError", "commands", "init_app"]
