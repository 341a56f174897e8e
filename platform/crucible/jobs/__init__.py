"""The pipeline: stages as jobs on a backend, hints by Celery, a reconciler that forgets nothing."""
