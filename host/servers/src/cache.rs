//! Where programs stay that are installed for tests only: outside the checkout.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A folder in the user's cache; it need not be there.
pub fn cached(name: &str) -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|cache| cache.is_absolute());
    let home = || env::home_dir().unwrap_or_else(|| Path::new("/").to_owned());
    let cache = cache.unwrap_or_else(|| home().join(".cache"));
    cache.join("xcomponent").join(name)
}
