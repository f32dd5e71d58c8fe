//! The attribute of `xcomponent-guest`: a module of functions becomes a component.

mod definition;
mod expand;
mod functions;

use proc_macro::TokenStream;

/// Makes a component of a module: `#[component("component.yaml")] mod order { … }`.
///
/// The file, relative to the crate's `Cargo.toml`, is the definition. Functions of the module
/// marked `#[guard]` or `#[action]` are its methods; `#[action(name = "checkPaymentMethod")]`
/// gives the name in the definition where it is not the function's in `camelCase`. It is an error
/// if the definition is not valid or names a method that is not there, a warning if a method is
/// there that it does not name.
#[proc_macro_attribute]
pub fn component(file: TokenStream, module: TokenStream) -> TokenStream {
    expand::component(file.into(), module.into(), &definition::load).into()
}
