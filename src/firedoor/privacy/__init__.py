"""What may leave the process: detectors, the redactor, keyed tokens."""
