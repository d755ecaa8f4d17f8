# Read by `flask` on your machine. dev.py has the app, and `flask cors`.
FLASK_APP=dev
# macOS has taken port 5000, Flask's own choice.
FLASK_RUN_PORT=8000
