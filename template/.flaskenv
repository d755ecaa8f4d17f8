# The app, with `flask cors`.
FLASK_APP=dev

# Lines to read in the log, in place of JSON.
FLASK_LOG_FORMAT=text

# Read by `flask` on your machine. macOS has taken port 5000, Flask's own choice.
FLASK_RUN_PORT=8000
