"""SearchNetworks that several attacks share."""
