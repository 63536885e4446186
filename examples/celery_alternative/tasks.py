"""Four workers that would be Celery tasks elsewhere. Each keeps what it needs between calls."""

from __future__ import annotations

import os
import time
from collections import defaultdict

from gunicorn.dirty import DirtyApp, stash


class EmailWorker(DirtyApp):
    """Keeps its connection to the mail server."""

    workers = 2

    def init(self):
        self.connection = {"connected_at": time.time()}  # smtplib.SMTP(…), once for each process
        self.sent = 0

    def send_email(self, to, subject, body):
        if "@" not in to:
            raise ValueError(f"{to!r} is not an address")
        self.sent += 1
        stash.incr("email", "sent")
        return {"status": "sent", "to": to, "subject": subject, "size": len(body)}

    def send_bulk_emails(self, recipients, subject, body):
        sent = failed = 0
        for number, to in enumerate(recipients, 1):
            try:
                self.send_email(to, subject, body)
                sent += 1
            except ValueError:
                failed += 1
            percent = round(100 * number / len(recipients))
            yield {"type": "progress", "current": number, "total": len(recipients), "percent": percent}
        yield {"type": "complete", "sent": sent, "failed": failed}

    def stats(self):
        return {"sent_here": self.sent, "sent": stash.get("email", "sent", 0)}

    def close(self):
        self.connection = None


class ImageWorker(DirtyApp):
    """Keeps its libraries loaded. An image is bytes here, one for each pixel."""

    workers = 2
    OPERATIONS = {
        "invert": lambda data: bytes(255 - byte for byte in data),
        "mirror": lambda data: data[::-1],
    }

    def init(self):
        self.processed = 0

    def resize(self, image_data, width, height):
        if width < 1 or height < 1:
            raise ValueError("width and height must be 1 or more")
        size = width * height
        step = max(1, len(image_data)) / size
        data = bytes(image_data[int(n * step)] for n in range(size)) if image_data else bytes(size)
        self.processed += 1
        return {"width": width, "height": height, "data": data}

    def process_batch(self, images, operation):
        if operation not in self.OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}")
        for number, image in enumerate(images, 1):
            data = self.OPERATIONS[operation](image)
            self.processed += 1
            yield {"type": "progress", "current": number, "total": len(images), "data": data}
        yield {"type": "complete", "processed": len(images)}


class DataWorker(DirtyApp):
    """Keeps a pool of connections and a cache of queries."""

    workers = 4

    def init(self):
        self.cache = {}

    def aggregate(self, data, group_by, agg_field):
        groups = defaultdict(list)
        for row in data:
            groups[row[group_by]].append(row[agg_field])
        return {
            key: {"count": len(values), "sum": sum(values), "average": sum(values) / len(values)}
            for key, values in groups.items()
        }

    def etl_pipeline(self, source_data, transformations):
        rows = list(source_data)
        for number, step in enumerate(transformations, 1):
            rows = self._transform(rows, step)
            yield {"type": "progress", "step": step["type"], "current": number, "rows": len(rows)}
        yield {"type": "complete", "rows": rows}

    def _transform(self, rows, step):
        field = step["field"]
        if step["type"] == "filter":
            return [row for row in rows if row.get(field) == step["value"]]
        if step["type"] == "rename":
            return [
                {step["to"] if key == field else key: value for key, value in row.items()} for row in rows
            ]
        if step["type"] == "scale":
            return [{**row, field: row[field] * step["by"]} for row in rows]
        raise ValueError(f"unknown transformation {step['type']!r}")

    def cached_query(self, query_key, ttl=60):
        now = time.monotonic()
        known = self.cache.get(query_key)
        if known is not None and known[1] > now:
            return {"result": known[0], "cached": True}
        result = f"result of {query_key}"
        self.cache[query_key] = result, now + ttl
        return {"result": result, "cached": False}


class ScheduledWorker(DirtyApp):
    """Work that cron starts with a request."""

    workers = 1

    def init(self):
        self.runs = 0

    def cleanup_old_files(self, directory, max_age_days=7):
        oldest = time.time() - max_age_days * 86400
        removed = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)
                    removed.append(entry.name)
        self.runs += 1
        return {"removed": sorted(removed)}

    def generate_daily_report(self):
        self.runs += 1
        return {"emails_sent": stash.get("email", "sent", 0), "report_number": self.runs}
