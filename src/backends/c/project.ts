// The files around model.c that build it: a Makefile and a CMakeLists.txt, both for a static library and, where there is a
// main.c, a program.

import type { Program } from '../../ir/program.js';

export interface ProjectFiles {
  readonly prefix: string;
  readonly weightsInline: boolean;
  readonly main: boolean;
  /** What the compiler is told of the machine. */
  readonly machine: readonly string[];
}

/** Value-safe flags that let compilers vectorise; whether a·b+c may be fused is the program's numerics. */
export const numericFlags = (program: Program): readonly string[] => [
  '-fno-math-errno',
  '-fno-trapping-math',
  program.numerics === 'strict' ? '-ffp-contract=off' : '-ffp-contract=fast',
];

export function printMakefile(program: Program, { prefix, weightsInline, main, machine }: ProjectFiles): string {
  const objects = [`${prefix}.o`, ...(weightsInline ? [] : [`${prefix}_weights.o`])].join(' ');
  const rules = [
    `lib${prefix}.a: ${objects}\n\t$(AR) rcs $@ $^`,
    `${prefix}.o: ${prefix}.c ${prefix}.h\n\t$(CC) -std=c99 $(CFLAGS) $(NUMERICS) -c -o $@ $<`,
    ...(weightsInline ? [] : [`${prefix}_weights.o: ${prefix}_weights.S ${prefix}.bin\n\t$(CC) -c -o $@ $<`]),
    ...(main
      ? [`${prefix}: main.c lib${prefix}.a ${prefix}.h\n\t$(CC) -std=c99 $(CFLAGS) -o $@ main.c lib${prefix}.a`]
      : []),
    `clean:\n\trm -f ${[objects, `lib${prefix}.a`, ...(main ? [prefix] : [])].join(' ')}`,
  ];
  return `# Builds lib${prefix}.a${main ? ` and the program ${prefix}, which runs .npy files` : ''}.
CFLAGS ?= ${['-O3', ...machine].join(' ')}
NUMERICS = ${numericFlags(program).join(' ')}

all: lib${prefix}.a${main ? ` ${prefix}` : ''}

${rules.join('\n\n')}

.PHONY: all clean
`;
}

export function printCMake(program: Program, { prefix, weightsInline, main, machine }: ProjectFiles): string {
  const own = machine.filter((flag) => flag !== '-march=native');
  const weights = weightsInline
    ? ''
    : `set_source_files_properties(${prefix}_weights.S PROPERTIES
  COMPILE_OPTIONS "-Wa,-I,\${CMAKE_CURRENT_SOURCE_DIR}"
  OBJECT_DEPENDS \${CMAKE_CURRENT_SOURCE_DIR}/${prefix}.bin)
`;
  return `cmake_minimum_required(VERSION 3.13)
project(${prefix} LANGUAGES C${weightsInline ? '' : ' ASM'})

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(${prefix} STATIC ${prefix}.c${weightsInline ? '' : ` ${prefix}_weights.S`})
target_include_directories(${prefix} PUBLIC \${CMAKE_CURRENT_SOURCE_DIR})
set_target_properties(${prefix} PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(${prefix} PRIVATE $<$<COMPILE_LANGUAGE:C>:-O3 ${[...own, ...numericFlags(program)].join(' ')}>)
endif()
${weights}${main ? `\nadd_executable(run_${prefix} main.c)\ntarget_link_libraries(run_${prefix} PRIVATE ${prefix})\n` : ''}`;
}
