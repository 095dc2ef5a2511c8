//! The wire: generated types and services, and their conversions to and from the domain.
