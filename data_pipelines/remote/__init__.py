"""Files on servers: who may be asked, what an address means, and bytes by parts."""
