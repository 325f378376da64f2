mod disk;
mod suite;
