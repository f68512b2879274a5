"""Pictures that need more than Pillow: HEIF and JPEG XL, raw photos, samples of more than 8 bits."""
