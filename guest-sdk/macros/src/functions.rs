//! The marked functions of a module.

use proc_macro2::Span;
use syn::{Attribute, Expr, ExprLit, Ident, Item, ItemFn, ItemMod, Lit, Meta, MetaNameValue};
use xcomponent_core::definition::MethodKind;

/// A function that is a method.
pub(crate) struct Function {
    pub(crate) kind: MethodKind,
    pub(crate) ident: Ident,
    /// The name in the definition, where it was given.
    name: Option<String>,
}

impl Function {
    /// Whether the definition means this function by a name.
    pub(crate) fn answers(&self, name: &str) -> bool {
        match &self.name {
            Some(own) => own == name,
            None => self.ident == name || self.ident == snake_case(name),
        }
    }

    /// Where to point for this function.
    pub(crate) fn span(&self) -> Span {
        self.ident.span()
    }
}

/// Takes the marks off a module's functions and lists them.
pub(crate) fn collect(module: &mut ItemMod) -> syn::Result<Vec<Function>> {
    let Some((_, items)) = &mut module.content else {
        return Err(syn::Error::new_spanned(
            module,
            "expected a module with its functions: `mod name { … }`",
        ));
    };
    let mut functions = Vec::new();
    for item in items {
        if let Item::Fn(function) = item {
            functions.extend(take_mark(function)?);
        }
    }
    Ok(functions)
}

fn take_mark(function: &mut ItemFn) -> syn::Result<Option<Function>> {
    let kind = |attribute: &Attribute| match attribute.path().get_ident()?.to_string().as_str() {
        "guard" => Some(MethodKind::Guard),
        "action" => Some(MethodKind::Action),
        _ => None,
    };
    let Some(position) = function
        .attrs
        .iter()
        .position(|attribute| kind(attribute).is_some())
    else {
        return Ok(None);
    };
    let mark = function.attrs.remove(position);
    let kind = kind(&mark).expect("it was found by that");
    Ok(Some(Function {
        kind,
        ident: function.sig.ident.clone(),
        name: name_of(&mark)?,
    }))
}

/// The `name = "…"` of a mark.
fn name_of(mark: &Attribute) -> syn::Result<Option<String>> {
    if let Meta::Path(_) = mark.meta {
        return Ok(None);
    }
    let argument: MetaNameValue = mark.parse_args()?;
    match argument.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(name),
            ..
        }) if argument.path.is_ident("name") => Ok(Some(name.value())),
        _ => Err(syn::Error::new_spanned(
            mark,
            "expected `name = \"methodInTheDefinition\"`",
        )),
    }
}

/// `checkPaymentMethod` → `check_payment_method`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake.replace(['-', '.'], "_")
}
