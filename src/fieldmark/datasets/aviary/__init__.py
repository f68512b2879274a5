"""The synthetic aviary: invented species in four media."""
