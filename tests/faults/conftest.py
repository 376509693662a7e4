from tests.authorities import no_authorities_of_the_system

__all__ = ["no_authorities_of_the_system"]
