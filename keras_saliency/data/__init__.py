"""Images and what belongs to them: probes, labels, masks, folders, datasets and videos."""
