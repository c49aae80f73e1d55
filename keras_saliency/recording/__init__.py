"""What is written while a model trains: snapshots, scalars, overviews, writers."""
