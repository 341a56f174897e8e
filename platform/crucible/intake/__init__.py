"""How a dataset gets in: uploads, submission, cancellation, retry, and the organiser's say."""
