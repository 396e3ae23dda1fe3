"""What students and models write is looked at for people in danger, threats and abuse; teachers see what was found."""
