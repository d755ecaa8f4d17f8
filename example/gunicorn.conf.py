"""How the app is served: `gunicorn wsgi:app`, in this folder, reads these defaults.

The environment overrides them: PORT and WEB_CONCURRENCY set the port and the number of workers, and
GUNICORN_CMD_ARGS sets anything, as options: GUNICORN_CMD_ARGS="--timeout=60 --keep-alive=75".
"""

import os

# A worker for each core. A request that waits or streams leaves its turn to the others; code that
# computes does not: where views do that for long, set worker_class to "gthread", and threads.
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
workers = os.environ.get("WEB_CONCURRENCY", cores or 1)
worker_class = "gevent"
worker_connections = 1000  # of each worker; more of them wait until one is closed

# In seconds. A worker that computes for longer is replaced; requests have this long to finish when
# the server stops; a connection may be idle between two requests.
timeout = 30
graceful_timeout = 30
keepalive = 5

# In bytes. A longer request line is answered with 414; a longer header, or one more, with 431.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 99

forwarder_headers = ""  # a SCRIPT_NAME header, of a proxy or a client, moves no path

# Write nothing to a disk: it may be read-only.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
control_socket_disable = True
