// The terms in which generated/schema.ts describes the format: what a field is and where its offset stands in a vtable.

export type Scalar = 'bool' | 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64' | 'u64' | 'f32' | 'f64';

/** One field of a table. `slot` counts vtable entries; a union's type tag has the slot before its own. */
export type FieldSchema =
  | {
      readonly kind: 'scalar';
      readonly slot: number;
      readonly scalar: Scalar;
      readonly default: number;
      readonly enum?: string;
    }
  | { readonly kind: 'vector'; readonly slot: number; readonly scalar: Scalar; readonly enum?: string }
  | { readonly kind: 'string'; readonly slot: number }
  | { readonly kind: 'table'; readonly slot: number; readonly table: string }
  | { readonly kind: 'tables'; readonly slot: number; readonly table: string }
  | { readonly kind: 'union'; readonly slot: number; readonly union: string };

export type TableSchema = Readonly<Record<string, FieldSchema>>;
