/** The type of what a JSON Schema describes, for the keywords that the schema of benchmark records uses. */

interface Primitives {
  readonly string: string;
  readonly integer: number;
  readonly number: number;
  readonly boolean: boolean;
}

/** Properties keep the order and the documentation that they have in the schema. */
type ObjectOf<Properties, Required> = {
  readonly [Name in keyof Properties as Name extends Required ? Name : never]: FromSchema<Properties[Name]>;
} & {
  readonly [Name in keyof Properties as Name extends Required ? never : Name]?: FromSchema<Properties[Name]>;
};

export type FromSchema<Schema> = Schema extends { readonly const: infer Value }
  ? Value
  : Schema extends { readonly enum: readonly (infer Value)[] }
    ? Value
    : Schema extends { readonly anyOf: readonly (infer Choice)[] }
      ? FromSchema<Choice>
      : Schema extends { readonly pattern: `^${infer Prefix}\\w+$` }
        ? `${Prefix}${string}`
        : Schema extends { readonly prefixItems: infer Items }
          ? { readonly [Index in keyof Items]: FromSchema<Items[Index]> }
          : Schema extends { readonly properties: infer Properties; readonly required: readonly (infer Required)[] }
            ? ObjectOf<Properties, Required>
            : Schema extends { readonly additionalProperties: infer Value extends object }
              ? Readonly<Record<string, FromSchema<Value>>>
              : Schema extends { readonly type: readonly (infer Name)[] }
                ? Primitives[Name & keyof Primitives]
                : Schema extends { readonly type: infer Name extends keyof Primitives }
                  ? Primitives[Name]
                  : never;
