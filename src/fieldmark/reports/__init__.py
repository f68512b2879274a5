"""Reports for people: evaluation page, findings page, model card, tables and contact sheets."""
