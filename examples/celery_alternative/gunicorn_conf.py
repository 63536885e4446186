"""One command instead of a web server, a broker and its workers."""

bind = "127.0.0.1:8000"
worker_class = "asgi"
workers = 2

dirty_apps = ["tasks:EmailWorker", "tasks:ImageWorker", "tasks:DataWorker", "tasks:ScheduledWorker"]
dirty_workers = 9  # 2 + 2 + 4 + 1: each class has processes of its own
dirty_timeout = 300
