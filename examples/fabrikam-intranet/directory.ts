/** A customer of Fabrikam's. */
interface Customer {
  readonly company: string
  readonly city: string
  readonly openOrders: number
  readonly revenueDollars: number
}

/** An employee, with what makes the page sensitive. */
interface Employee {
  readonly name: string
  readonly role: string
  readonly office: string
  readonly salaryDollars: number
}

export const customers: readonly Customer[] = [
  { company: 'Adventure Works', city: 'Bothell', openOrders: 7, revenueDollars: 482_300 },
  { company: 'Contoso', city: 'Redmond', openOrders: 12, revenueDollars: 1_204_750 },
  { company: 'Litware', city: 'Portland', openOrders: 3, revenueDollars: 96_400 },
  { company: 'Northwind Traders', city: 'Seattle', openOrders: 21, revenueDollars: 867_120 },
  { company: 'Tailspin Toys', city: 'Tacoma', openOrders: 5, revenueDollars: 153_900 },
]

export const employees: readonly Employee[] = [
  { name: 'Ada Park', role: 'Assembly lead', office: 'Tacoma', salaryDollars: 74_500 },
  { name: 'Ben Osei', role: 'Robotics engineer', office: 'Seattle', salaryDollars: 118_000 },
  { name: 'Carla Ruiz', role: 'Head of sales', office: 'Seattle', salaryDollars: 141_200 },
  { name: 'Deniz Kaya', role: 'Accountant', office: 'Portland', salaryDollars: 82_900 },
  { name: 'Elin Berg', role: 'Plant manager', office: 'Tacoma', salaryDollars: 126_400 },
]
