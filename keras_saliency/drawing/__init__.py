"""Pictures of maps: colours, overlays, sheets, animations."""
