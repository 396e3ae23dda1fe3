"""How gunicorn serves the tool: `gunicorn --config python:app.serving "app:create_app()"`.

gunicorn reads this before gevent patches the standard library: it imports nothing.
"""

worker_class = "app.worker.Worker"
workers = 2
loglevel = "warning"
# A deploy lets replies be written and read on for so long; one that is not whole by then can be tried again.
graceful_timeout = 30
