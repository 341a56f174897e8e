"""The pipeline: stages as jobs on backends, hints by Celery, and the reconciler."""
