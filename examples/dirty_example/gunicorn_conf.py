"""Two web workers, and a pool of three processes: two with the model, all with the sessions."""

worker_class = "gthread"
workers = 2
threads = 4

dirty_apps = ["dirty_app:Model", "dirty_app:Sessions"]
dirty_workers = 3
dirty_timeout = 60
