"""What is in each dataset, as the stage `profile` found it, and who may read its sample."""
