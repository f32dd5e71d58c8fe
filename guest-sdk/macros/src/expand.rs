//! From a module to a component.

use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ItemMod, LitStr, parse2};
use xcomponent_core::definition::MethodKind;

use crate::{
    definition::{Source, methods},
    functions::{Function, collect},
};

/// Expands `#[component("file")] mod name { … }`; mistakes become compile errors.
pub(crate) fn component(
    file: TokenStream,
    module: TokenStream,
    load: &dyn Fn(&str) -> Result<Source, String>,
) -> TokenStream {
    expand(file, module, load).unwrap_or_else(|error| error.to_compile_error())
}

fn expand(
    file: TokenStream,
    module: TokenStream,
    load: &dyn Fn(&str) -> Result<Source, String>,
) -> syn::Result<TokenStream> {
    let file: LitStr = parse2(file)?;
    let mut module: ItemMod = parse2(module)?;
    let functions = collect(&mut module)?;
    let Source { path, yaml } =
        load(&file.value()).map_err(|problem| syn::Error::new(file.span(), problem))?;
    let named = methods(&file.value(), &yaml).map_err(|problems| all(&file, problems))?;
    let answered = pair(&file, &named, &functions)?;
    let unused = functions
        .iter()
        .filter(|function| !named.iter().any(|(_, name)| function.answers(name)));
    let warnings = unused.map(|function| warning(&file, function));
    let generated = implementation(&answered);
    let section = section(&answered);
    let (attributes, visibility, name) = (&module.attrs, &module.vis, &module.ident);
    let items = module.content.map(|(_, items)| items).unwrap_or_default();
    Ok(quote! {
        #(#attributes)*
        #visibility mod #name {
            #(#items)*
            #generated
            #(#warnings)*
            /// A change of the definition rebuilds the crate.
            const _: &str = ::core::include_str!(#path);
        }
        #section
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
        const _: () = {
            type Exported = ::xcomponent_guest::export::Exported<#name::Methods>;
            ::xcomponent_guest::bindings::export!(Exported with_types_in ::xcomponent_guest::bindings);
        };
        /// Natively nobody asks the methods; they are in use all the same.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = <#name::Methods as ::xcomponent_guest::export::Component>::guard;
            let _ = <#name::Methods as ::xcomponent_guest::export::Component>::action;
        };
    })
}

/// Each name of the definition with the function that answers it, or every reason why not.
fn pair<'f>(
    file: &LitStr,
    named: &[(MethodKind, String)],
    functions: &'f [Function],
) -> syn::Result<Vec<(MethodKind, String, &'f Function)>> {
    let mut answered = Vec::new();
    let mut problems = Vec::new();
    for (kind, name) in named {
        let role = role(*kind);
        match functions.iter().find(|function| function.answers(name)) {
            Some(function) if function.kind == *kind => {
                answered.push((*kind, name.clone(), function))
            }
            Some(function) => {
                let message = format!(
                    "{} uses `{name}` as {role}, but it is marked as {}",
                    file.value(),
                    self::role(function.kind)
                );
                problems.push(syn::Error::new(function.span(), message));
            }
            None => {
                let message = format!(
                    "{} names {role} `{name}`, and no function here answers it",
                    file.value()
                );
                problems.push(syn::Error::new(file.span(), message));
            }
        }
    }
    combined(problems).map_or(Ok(answered), Err)
}

fn implementation(answered: &[(MethodKind, String, &Function)]) -> TokenStream {
    let of_kind = |wanted: MethodKind| answered.iter().filter(move |(kind, ..)| *kind == wanted);
    let names = |wanted| of_kind(wanted).map(|(_, name, _)| name).collect::<Vec<_>>();
    let idents = |wanted| {
        of_kind(wanted)
            .map(|(.., function)| &function.ident)
            .collect::<Vec<_>>()
    };
    let (guards, guard_functions) = (names(MethodKind::Guard), idents(MethodKind::Guard));
    let (actions, action_functions) = (names(MethodKind::Action), idents(MethodKind::Action));
    quote! {
        /// The methods of this component, as the host asks them.
        #[derive(Debug)]
        pub struct Methods;

        impl ::xcomponent_guest::export::Component for Methods {
            const GUARDS: &'static [&'static str] = &[#(#guards),*];
            const ACTIONS: &'static [&'static str] = &[#(#actions),*];

            fn guard(call: ::xcomponent_guest::RawCall) -> ::core::result::Result<bool, ::xcomponent_guest::Failure> {
                match call.method.as_str() {
                    #(#guards => ::xcomponent_guest::export::ask(#guard_functions, call),)*
                    _ => ::core::result::Result::Err(::xcomponent_guest::export::unknown(&call)),
                }
            }

            fn action(
                call: ::xcomponent_guest::RawCall,
            ) -> ::core::result::Result<::core::option::Option<::std::string::String>, ::xcomponent_guest::Failure> {
                match call.method.as_str() {
                    #(#actions => ::xcomponent_guest::export::run(#action_functions, call),)*
                    _ => ::core::result::Result::Err(::xcomponent_guest::export::unknown(&call)),
                }
            }
        }
    }
}

/// The list of methods as a custom section, so that nobody has to run the component to know it.
fn section(answered: &[(MethodKind, String, &Function)]) -> TokenStream {
    let line = |(kind, name, _): &(MethodKind, String, &Function)| match kind {
        MethodKind::Guard => format!("guard {name}\n"),
        MethodKind::Action => format!("action {name}\n"),
    };
    let text: String = answered.iter().map(line).collect();
    let (length, bytes) = (text.len(), Literal::byte_string(text.as_bytes()));
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "a static of bytes, placed in a custom section")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "xcomponent:methods")]
            static METHODS: [u8; #length] = *#bytes;
        };
    }
}

/// A method that nobody names is worth a warning; macros have only this way to give one.
fn warning(file: &LitStr, function: &Function) -> TokenStream {
    let note = format!(
        "{} names no method that `{}` answers",
        file.value(),
        function.ident
    );
    quote_spanned! { function.span() =>
        const _: () = {
            #[deprecated(note = #note)]
            const UNUSED_METHOD: () = ();
            UNUSED_METHOD
        };
    }
}

fn all(file: &LitStr, problems: Vec<String>) -> syn::Error {
    let errors = problems
        .into_iter()
        .map(|problem| syn::Error::new(file.span(), problem))
        .collect();
    combined(errors).unwrap_or_else(|| syn::Error::new(file.span(), "the definition is not valid"))
}

fn combined(errors: Vec<syn::Error>) -> Option<syn::Error> {
    errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    })
}

fn role(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Guard => "a guard",
        MethodKind::Action => "an action",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
name: Shop
stateMachines:
  - name: Order
    initialState: Open
    states: [{name: Open}, {name: Done, type: final}]
    transitions:
      - {from: Open, to: Done, event: SHIP, guard: isPaid, triggeredMethod: shipIt}
";

    fn expanded(yaml: &str, module: TokenStream) -> String {
        let load = |_: &str| {
            Ok(Source {
                path: "/x/component.yaml".to_owned(),
                yaml: yaml.to_owned(),
            })
        };
        component(quote!("component.yaml"), module, &load).to_string()
    }

    #[test]
    fn names_in_camel_case_find_their_functions() {
        let code = expanded(
            YAML,
            quote! { mod m { #[guard] fn is_paid() -> bool { true } #[action(name = "shipIt")] fn ship() {} } },
        );
        assert!(!code.contains("compile_error"), "{code}");
        assert!(code.contains(r#""isPaid" => "#) && code.contains(r#""shipIt" => "#));
    }

    #[test]
    fn a_method_that_the_code_lacks_is_an_error() {
        let code = expanded(
            YAML,
            quote! { mod m { #[guard] fn is_paid() -> bool { true } } },
        );
        assert!(
            code.contains(
                "component.yaml names an action `shipIt`, and no function here answers it"
            ),
            "{code}"
        );
    }

    #[test]
    fn a_guard_marked_as_an_action_is_an_error() {
        let code = expanded(
            YAML,
            quote! { mod m { #[action] fn is_paid() {} #[action] fn ship_it() {} } },
        );
        assert!(
            code.contains("uses `isPaid` as a guard, but it is marked as an action"),
            "{code}"
        );
    }

    #[test]
    fn a_method_that_nobody_names_is_a_warning() {
        let module = quote! { mod m { #[guard] fn is_paid() -> bool { true } #[action] fn ship_it() {} #[action] fn dance() {} } };
        let code = expanded(YAML, module);
        assert!(!code.contains("compile_error"));
        assert!(
            code.contains("component.yaml names no method that `dance` answers"),
            "{code}"
        );
    }

    #[test]
    fn every_mistake_in_the_definition_is_an_error_with_its_place() {
        let broken = YAML
            .replace("to: Done", "to: Dome")
            .replace("type: final", "type: finale");
        let code = expanded(&broken, quote! { mod m {} });
        assert!(
            code.contains("component.yaml:5:47: error[unknown_value]"),
            "{code}"
        );
        assert!(
            code.contains("component.yaml:7:26: error[unknown_state]"),
            "{code}"
        );
    }
}
