//! What stands in for random numbers, of which a guest has none.
//!
//! The library of JSON Schema seeds its hash maps by the crate `getrandom`, which would ask a
//! browser for them on this target. Its backend `custom` asks this function instead. The bytes are
//! the same on every instance, so that a reply can't depend on which instance gave it.

#[cfg(not(getrandom_backend = "custom"))]
compile_error!(
    "build from the directory `plugins`, whose .cargo/config.toml says where random numbers come \
     from, and without RUSTFLAGS in the environment, which replace what it says"
);

#[cfg(getrandom_backend = "custom")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    destination: *mut u8,
    length: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: `getrandom` gives a buffer of this length, and its contract asks that all of it is
    // written.
    unsafe { std::ptr::write_bytes(destination, 0x5a, length) };
    Ok(())
}
