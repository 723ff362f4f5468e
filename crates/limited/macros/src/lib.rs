//! The attribute `#[limited::test]`, which the crate `limited` exports.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Makes a function a test with a time limit, in the place of `#[test]` and `#[tokio::test]`. The function
/// has no arguments and returns nothing; one that is `async` is run in a Tokio runtime.
///
/// Arguments are methods of `limited::Test`: `#[limited::test(worker_threads = 2, seconds = 90)]`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let mut before: Vec<TokenTree> = function.into_iter().collect();
    let is_word = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(ident) if ident.to_string() == word);
    let Some(at) = before.iter().position(|token| is_word(token, "fn")) else {
        return error("a test is a function");
    };
    let mut rest = before.split_off(at);
    let is_async = before.pop_if(|token| is_word(token, "async")).is_some();
    let (Some(TokenTree::Group(body)), true) = (rest.pop(), rest.len() == 3) else {
        return error("a test has no arguments and returns nothing");
    };
    let (run, closure) = match is_async {
        true => (".run", "move || async move"),
        false => (".run_blocking", "move ||"),
    };
    let mut call = parse(&format!("::limited::Test::new({:?})", rest[1].to_string()));
    call.extend(methods(arguments));
    call.extend(parse(run));
    let mut closure = parse(closure);
    closure.extend([TokenTree::Group(body)]);
    call.extend([group(Delimiter::Parenthesis, closure)]);
    let mut test = parse("#[::core::prelude::v1::test]");
    test.extend(before);
    test.extend(rest);
    test.extend([group(Delimiter::Brace, call)]);
    test
}

/// The calls of methods for `name = argument, …`.
fn methods(arguments: TokenStream) -> TokenStream {
    let arguments: Vec<TokenTree> = arguments.into_iter().collect();
    let is_comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut calls = TokenStream::new();
    for argument in arguments.split(is_comma).filter(|found| !found.is_empty()) {
        let [name @ TokenTree::Ident(_), TokenTree::Punct(is), value @ ..] = argument else {
            return error("an argument is `name = value`");
        };
        if is.as_char() != '=' {
            return error("an argument is `name = value`");
        }
        calls.extend(parse("."));
        calls.extend([name.clone()]);
        calls.extend([group(
            Delimiter::Parenthesis,
            value.iter().cloned().collect(),
        )]);
    }
    calls
}

fn group(delimiter: Delimiter, content: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(delimiter, content))
}

fn parse(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}

fn error(message: &str) -> TokenStream {
    parse(&format!("::core::compile_error!({message:?});"))
}
