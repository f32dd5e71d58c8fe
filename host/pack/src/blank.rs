//! The blank guest: a component that answers no method of its own, for definitions without code.
//!
//! Its guards say yes and its actions leave everything as it is. It is built here, instruction by
//! instruction, after the canonical ABI of the component model: a call with more than 16 flat
//! parameters arrives as one pointer, a result with more than one as a pointer to it.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};
use wit_component::{StringEncoding, embed_component_metadata};

use crate::{contract, write::encode};

/// Where the empty list stands: eight zero bytes.
const EMPTY_LIST: i32 = 16;
/// Where `ok(true)` stands: discriminant 0, then 1 at the alignment of 4.
const YES: i32 = 32;
/// Where `ok(none)` stands: zero bytes.
const UNCHANGED: i32 = 64;
/// Where arguments are laid down.
const ARGUMENTS: i32 = 1_024;
/// Bytes of a page of memory, as a power of two.
const PAGE_BITS: i32 = 16;

/// The blank guest, without a definition.
pub fn blank() -> Vec<u8> {
    let mut module = core_module();
    let (resolve, world) = contract::world();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world encodes");
    encode(&module).expect("the blank guest fits its world")
}

fn core_module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);

    let mut functions = FunctionSection::new();
    for kind in [0, 1, 1, 2] {
        functions.function(kind);
    }

    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });

    let mut globals = GlobalSection::new();
    let bump = GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    };
    globals.global(bump, &ConstExpr::i32_const(ARGUMENTS));

    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for (idx, name) in (0..).zip(["list", "guard", "action"]) {
        exports.export(
            &format!("{}0#{name}", contract::METHODS),
            ExportKind::Func,
            idx,
        );
    }
    exports.export("cabi_realloc", ExportKind::Func, 3);

    let mut code = CodeSection::new();
    for answer in [EMPTY_LIST, YES, UNCHANGED] {
        code.function(&constant(answer));
    }
    code.function(&realloc());

    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(YES + 4), [1]);

    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memory)
        .section(&globals);
    module.section(&exports).section(&code).section(&data);
    module.finish()
}

/// Forgets the arguments and points to an answer.
fn constant(answer: i32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.i32_const(ARGUMENTS)
        .global_set(0)
        .i32_const(answer)
        .end();
    function
}

/// `cabi_realloc(old, old_size, align, size)`: gives fresh memory, growing it where needed.
fn realloc() -> Function {
    let (align, size, start, end) = (2, 3, 4, 5);
    let mut function = Function::new([(2, ValType::I32)]);
    let mut code = function.instructions();
    // start = (bump + align - 1) & -align
    code.global_get(0)
        .local_get(align)
        .i32_add()
        .i32_const(1)
        .i32_sub();
    code.i32_const(0)
        .local_get(align)
        .i32_sub()
        .i32_and()
        .local_tee(start);
    // end = start + size
    code.local_get(size).i32_add().local_tee(end);
    // if end > pages * 64 KiB, grow by the pages that are missing, and trap if there are none
    code.memory_size(0)
        .i32_const(PAGE_BITS)
        .i32_shl()
        .i32_gt_u()
        .if_(BlockType::Empty);
    code.local_get(end)
        .memory_size(0)
        .i32_const(PAGE_BITS)
        .i32_shl()
        .i32_sub();
    code.i32_const((1 << PAGE_BITS) - 1)
        .i32_add()
        .i32_const(PAGE_BITS)
        .i32_shr_u()
        .memory_grow(0);
    code.i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty)
        .unreachable()
        .end()
        .end();
    code.local_get(end).global_set(0).local_get(start).end();
    function
}
