"""The site: submissions, the pipeline that turns them into scores, and the leaderboard."""
