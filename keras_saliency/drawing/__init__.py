"""Drawing of maps: colours, overlays, sheets, animations."""
